//! The real binary, as an operator and the internet meet it: killed, starved, misused, stopped,
//! saved and restored. Each test starts its own, in a folder of its own, with nothing of the
//! environment outside.
#![cfg(target_os = "linux")]

mod backup;
mod cli;
mod client;
mod config;
mod crash;
mod faults;
mod fuzz;
mod hostile;
mod limits;
mod retries;
mod secrets;
mod shutdown;
mod storage;
mod support;
mod traffic;
