"""The verifier's reward functions for other trainers: TRL, verl and EasyR1. One file each, none imports its trainer."""
