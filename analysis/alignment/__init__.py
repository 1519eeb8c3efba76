"""Human maps and attention maps in, scores out."""
