"""What each operation takes and answers, one module for the operations of a few nouns."""
