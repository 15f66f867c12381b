"""Terms: texts with their vectors, the vocabulary and every prompt asked."""
