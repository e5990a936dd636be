"""Training frameworks compared by running them: one file per framework, one harness for all."""
