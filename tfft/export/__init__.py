"""What a trained model is handed over as: the tokenizer inside the graph, and what proves it."""
