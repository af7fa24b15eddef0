"""The command line. `main` is the entry point, `options` what several commands take, `progress` what a terminal shows.

`search`, `networks` and `runs` declare the commands and their options; what a command does is in `commands/`, which is
imported when the command runs, so that `--help` stays instant.
"""
