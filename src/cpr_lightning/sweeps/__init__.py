"""Many runs with one command: composed and checked before the first starts, resumed, spread over processes."""
