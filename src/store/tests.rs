//! The store as its callers see it: group commit, reruns, order, crashes, full disks.

mod callers;
