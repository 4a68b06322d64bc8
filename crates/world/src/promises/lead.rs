//! One process leads at a time, and only the leader decides and acts.

use jiff::Timestamp;
use serde_json::Value;

use super::ledger::Ledger;
use crate::api_server::AuditEntry;

impl Ledger {
    /// The Lease has another holder, or none.
    pub(super) fn note_lease(&mut self, entry: &AuditEntry) {
        let holder = entry.after.as_ref().and_then(|lease| lease.pointer("/spec/holderIdentity"));
        let holder = holder.and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.holders.last().is_none_or(|(_, last)| *last != holder) {
            self.holders.push((entry.at, holder));
        }
    }

    /// What decides and acts was sent by the process that held the Lease then. It may arrive later: no
    /// request can be called back.
    pub(super) fn check_leads(&mut self, entry: &AuditEntry) {
        let Some(by) =
            entry.by.as_ref().filter(|_| matches!(entry.kind.as_str(), "HealingAction" | "Pod" | "Deployment"))
        else {
            return;
        };
        let holder = self.holder_at(by.sent);
        let leads = holder.split('_').next() == Some(&by.name);
        self.require(leads, entry.at, "only the leader writes", || {
            format!("{} changed {} {}, when {holder:?} held the Lease", by.name, entry.kind, entry.name)
        });
    }

    fn holder_at(&self, at: Timestamp) -> String {
        let held = self.holders.iter().rev().find(|(since, _)| *since <= at);
        held.map(|(_, holder)| holder.clone()).unwrap_or_default()
    }
}
