"""The `keelback` command: arguments in, texts out. What a command does stands below, mostly in `bootstrap`."""
