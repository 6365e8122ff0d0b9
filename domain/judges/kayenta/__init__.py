"""Kayenta's NetflixACAJudge-v1.0, as its behaviour is documented and its own tests pin it down."""
