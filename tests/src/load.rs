//! What `loadtest` is made of: brokers as processes, peers that load them, runs taken in
//! turn, and what is made of the figures.
//!
//! A *subject* is a broker with the peers that speak its protocol; a *shape* is how many
//! peers there are and what each has under way. Every figure is measured in rounds: each
//! round runs every subject in every shape once, so that a noisy moment hits all alike,
//! and what is compared is compared within a round.
//!
//! | module | what it is |
//! |---|---|
//! | [`args`] | the command line |
//! | [`broker`] | the brokers as processes, and the CPU time of one |
//! | [`bare`], [`bare_v1`] | the simplest honest brokers, to compare with |
//! | [`peer`] | what a client and a worker do for the load, and the tags of requests |
//! | [`mdp02`], [`mdp10`], [`plain`], [`nats`], [`gearman`], [`sdk`] | the peers of each protocol |
//! | [`stream`] | a TCP connection that is read in large pieces |
//! | [`crowd`] | thousands of workers of MDP/0.2 on one thread |
//! | [`drive`] | one measured window: peers start, warm up, are measured, and end |
//! | [`plan`] | every row that is measured so |
//! | [`idle`], [`waiting`], [`beating`], [`large`], [`secured`] | what is measured in another way |
//! | [`figures`] | rows, medians and ratios |
//! | [`goals`] | what the figures should be |
//! | [`document`], [`chart`] | tables and charts for docs/performance.md |

pub mod args;
pub mod bare;
pub mod bare_v1;
pub mod beating;
pub mod broker;
pub mod chart;
pub mod crowd;
pub mod document;
pub mod drive;
pub mod figures;
pub mod gearman;
pub mod goals;
pub mod idle;
pub mod large;
pub mod mdp02;
pub mod mdp10;
pub mod nats;
pub mod peer;
pub mod plain;
pub mod plan;
pub mod sdk;
pub mod secured;
pub mod stream;
pub mod waiting;
