"""The matrix of engines to build ahead, as package data; built ones are in `store/` beside it, ignored by git."""
