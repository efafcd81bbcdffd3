"""What scenario tests share: a project in a git work tree, the deploy command, and traffic."""
