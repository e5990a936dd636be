"""Proof that every gate can fail: one planted fault per gate must turn exactly it red."""
