"""What every other package needs: errors, the log, files that appear whole, threads, processes."""
