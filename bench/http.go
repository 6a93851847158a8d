package main

import "context"

const peerVerb = "peer"

func runPeer([]string) error                           { return nil }
func (b *bench) measureHTTP(context.Context) error     { return nil }
func (b *bench) measurePayments(context.Context) error { return nil }
func (b *bench) profileOf(*subject) func()             { return nil }
