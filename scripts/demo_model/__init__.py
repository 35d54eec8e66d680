"""Data, training, evaluation and clips of the small model that the package ships."""
