"""What `gradoracle new` writes: files in which NAME stands for the package's name."""
