"""Failures, and what people type to find them: in the record's words, and in their own."""

from __future__ import annotations

FAILURES: tuple[tuple[str, str, str], ...] = (
    (
        "killed by SIGKILL: the system ran out of memory at max_seq_length 2048",
        "ran out of memory max_seq_length 2048",
        "OOM with long rows",
    ),
    (
        "training loss became nan at step 12 with learning_rate 0.01",
        "loss nan learning_rate",
        "training diverged because the lr was too high",
    ),
    (
        "cannot load adapters/0001200_adapters.safetensors: header is damaged",
        "0001200_adapters.safetensors header",
        "broken adapter checkpoint",
    ),
    (
        "decode speed 11.2 tokens/s is below 20 tokens/s on battery power",
        "decode speed battery power",
        "slow throughput while unplugged from the charger",
    ),
    (
        "the tokenizer lacks a chat template",
        "tokenizer chat template",
        "no template for conversations",
    ),
    (
        "pip check: transformers 4.40 has requirement tokenizers<0.20",
        "transformers requirement tokenizers",
        "dependency conflict of the tokenizers package",
    ),
    (
        "hub answered 401 for a gated repository",
        "401 gated repository",
        "not allowed to download the model without a token",
    ),
    (
        "no space left on device while downloading model-00003-of-00004.safetensors",
        "no space left model-00003-of-00004.safetensors",
        "disk full during the download",
    ),
    (
        "group_size 64 does not divide dimension 1000",
        "group_size 64 divide dimension",
        "quantization grouping impossible for the shape",
    ),
    (
        "num_layers 40 exceeds the 28 layers of the model",
        "num_layers 40 exceeds 28",
        "asked for more blocks than there are",
    ),
    (
        "gradient checkpointing is off and saved activations need 9.7 GB",
        "saved activations 9.7 GB",
        "checkpointing disabled so activations do not fit",
    ),
    (
        "KV cache of 32768 tokens needs 8.6 GB",
        "KV cache 32768 tokens",
        "context too long for generation",
    ),
    (
        "the metal device is not available in this process",
        "metal device not available",
        "no GPU found on this mac",
    ),
    (
        "pytest exited 5: no test was collected in tests/acceptance",
        "no test collected tests/acceptance",
        "empty acceptance suite",
    ),
    (
        "wheel names 'samples', pyproject.toml 'sample'",
        "wheel names samples pyproject.toml",
        "built package has a wrong name",
    ),
    (
        "the advisory service gave no answer: connection refused",
        "advisory service connection refused",
        "audit could not reach its server",
    ),
    (
        "clean as of 2024-10-10, which is over 14 days ago",
        "clean as of 2024-10-10",
        "advisories database is stale",
    ),
    ("answer 7 is empty after 128 tokens", "answer empty 128 tokens", "the model said nothing"),
    (
        "generated function add raised NameError in the sandbox",
        "NameError sandbox add",
        "written code crashed when it was executed",
    ),
    (
        "sign-off of AC5 expired: the answers changed",
        "sign-off AC5 expired",
        "reviewer has to read the answers again",
    ),
    (
        "trust_remote_code would be needed for modeling_custom.py",
        "trust_remote_code modeling_custom.py",
        "model wants to run its own python",
    ),
    (
        "pytorch_model.bin is a pickle and was refused unopened",
        "pytorch_model.bin pickle refused",
        "unsafe weights format",
    ),
    (
        "model.safetensors: tensor lm_head.weight lies beyond the end of the file",
        "lm_head.weight beyond end of file",
        "truncated weights",
    ),
    (
        "config.json: hidden_size 3584 contradicts q_proj of shape 4096",
        "hidden_size 3584 q_proj",
        "shapes disagree with the configuration",
    ),
    (
        "LoRA rank 256 leaves no headroom in 16 GB",
        "LoRA rank 256 headroom",
        "adapters too large for the budget",
    ),
    (
        "the batch of 8 rows needs 31 GB, budget 16 GB",
        "batch of 8 rows 31 GB",
        "too many examples at once",
    ),
    ("swap grew by 12 GB during training", "swap grew training", "machine was paging"),
    (
        "import mlx.core failed: libmlx.so not found",
        "libmlx.so not found",
        "library of the framework is missing",
    ),
    ("python 3.9 is older than 3.11", "python 3.9 older", "interpreter version too old"),
    ("noxfile.py: session docs is not defined", "noxfile.py session docs", "unknown nox target"),
    (
        "dataset train.jsonl line 17 has no field messages",
        "train.jsonl line 17 messages",
        "malformed training example",
    ),
    (
        "validation loss rose from 1.2 to 3.9 after 600 iterations",
        "validation loss rose 600 iterations",
        "overfitting late in the run",
    ),
    (
        "peak memory 17.3 GB, predicted 15.1 GB: error 12.7 %",
        "predicted 15.1 GB error 12.7",
        "estimate was too low",
    ),
    (
        "the child did not end within 1800 s",
        "child did not end within 1800",
        "hung until the timeout",
    ),
    (
        "git: the commit changed while the plan ran",
        "commit changed while plan ran",
        "somebody committed during the run",
    ),
    (
        "HF_HOME points to a read-only folder",
        "HF_HOME read-only",
        "cache directory is not writable",
    ),
)
