"""What the proxy adds to the `diarist` command, through the entry-point group `diarist.commands`."""
