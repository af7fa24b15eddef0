"""What each command does, one file per command. They print; everything that computes is in the library."""
