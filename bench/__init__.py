"""Speed and memory of training, measured against other libraries on the same examples."""
