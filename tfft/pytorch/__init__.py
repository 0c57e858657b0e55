"""The same fine-tuning in PyTorch, so that a user can check one framework against the other.

Nothing outside of this package imports torch, and nothing in it imports TensorFlow.
"""
