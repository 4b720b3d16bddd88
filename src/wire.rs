//! The bytes of erps 0.7: pure functions and buffers, no I/O, no clock.
