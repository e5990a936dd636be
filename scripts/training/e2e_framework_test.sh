#!/usr/bin/env bash
# End-to-end workflow: import, load, infer, profile. Arguments (--profile, --model,
# --budget-gb) reach every script. Exit 0 only when all four steps worked.
set -uo pipefail
cd "$(dirname "$0")/../.."
python="${PYTHON:-python3}"
failed=0

step() {
    local number="$1" title="$2"
    shift 2
    echo "=== Step $number: $title"
    if "$@"; then
        echo "PASS: $title"
    else
        echo "FAIL: $title (exit $?)"
        failed=1
    fi
}

echo "=== E2E Framework Workflow Test ==="
step 1 "Import MLX-LM" "$python" -c "import mlx_lm; print('MLX-LM imported:', mlx_lm.__version__)"
step 2 "Load the model" "$python" scripts/training/load_model_test.py "$@"
step 3 "Run inference" "$python" scripts/training/inference_test.py "$@"
step 4 "Profile memory" "$python" scripts/training/memory_profile.py "$@"
echo "=== E2E Test Complete ==="
exit "$failed"
