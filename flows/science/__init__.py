"""The numerics: numpy and torch alone, arrays in and arrays out."""
