"""What a model version was made on, frozen, and the cells that everything is counted in."""
