//! Tests of the rules for decisions and for the execution of actions.

mod actions;
mod availability;
mod busy;
mod decide;
mod dry_run;
mod edges;
mod evidence;
mod execute;
mod judgement;
mod ladder;
mod lineage;
mod properties;
mod settling;
mod storm;
mod support;
mod without_effect;
