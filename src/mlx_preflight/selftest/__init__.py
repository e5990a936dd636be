"""Prove that every gate can fail: plant one fault per gate and watch exactly it turn red."""
