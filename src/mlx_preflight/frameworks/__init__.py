"""Compare training frameworks by running them: one file per framework, one harness for all."""
