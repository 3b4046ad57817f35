"""The pool's periodic jobs: which there are, what each does, and the two processes that let rq run them."""
