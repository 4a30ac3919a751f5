"""Before a run: `doctor` looks for what would stop or spoil it, `plan` predicts tokens, memory and time."""
