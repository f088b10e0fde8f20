"""What the commands of `diarist` do, apart from how their arguments are spelled, which is `diarist.cli`."""
