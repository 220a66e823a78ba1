"""Records of runs sent to Weights & Biases, online or kept on disk to be synced later."""
