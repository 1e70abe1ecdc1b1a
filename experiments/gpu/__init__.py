"""The proof that the suite says the truth about an accelerator: twenty checks on a real one."""
