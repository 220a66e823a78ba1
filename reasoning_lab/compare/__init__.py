"""Runs side by side, from their folders alone: tables, pictures and a verdict."""
