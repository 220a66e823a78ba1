"""Recipes: each stage of training is one file that reads top to bottom."""
