//! Who is answered, and with which headers.
