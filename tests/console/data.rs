//! What the endpoints show.
