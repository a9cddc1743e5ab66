//! `GET /v1/events`: what goes over it, when it speaks, how it resumes and how it ends.

mod ends;
mod resumes;
mod speaks;
