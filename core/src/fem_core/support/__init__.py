"""What every folder may use: words, progress, the machine, files that appear whole, code that workers can import."""
