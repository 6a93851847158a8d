package main

import (
	"context"
	"encoding/json"
	"fmt"
)

const (
	paymentsPath = "/v1/payments"
	paymentBody  = `{"amount":1250,"currency":"EUR","payment_method":"tok_approved","reference":"` + keyMark + `"}`
)

// measurePayments measures whole payments: created, charged at the provider over HTTP, booked.
func (b *bench) measurePayments(ctx context.Context) error {
	path, err := b.build(ctx)
	if err != nil {
		return err
	}
	url, books, err := b.booksIn(ctx, "payments")
	if err != nil {
		return err
	}
	defer books.close()
	address, err := freeAddress()
	if err != nil {
		return err
	}
	sandbox, err := b.startProcess("sandbox", path, []string{"sandbox", "--listen", address}, nil)
	if err != nil {
		return err
	}
	defer sandbox.stop()
	witness := "http://" + address + "/witness/summary"
	if err := sandbox.awaitOK(ctx, witness); err != nil {
		return err
	}
	node, err := b.startServe(ctx, "serve-payments", url, "--sandbox-url", "http://"+address)
	if err != nil {
		return err
	}
	defer node.stop()
	kontor := &target{process: node.process, serve: node, provider: sandbox.pid, address: node.address}
	l := load{request: newRequest(paymentsPath, books.key, paymentBody), contains: []byte(`"status":"captured"`)}
	for _, connections := range []int{64, 256} {
		f := &figure{Part: partPayments, Name: "POST " + paymentsPath + ", captured", Size: connections, Aim: "at least 1,500"}
		if err := b.measure(ctx, fmt.Sprintf("payments, %d connections", connections), []*subject{b.loaded(f, kontor, l, nil)}); err != nil {
			return err
		}
	}
	b.noteMemory(partPayments, node)
	node.stop()
	if err := b.countPayments(ctx, url, witness, kontor.accepted); err != nil {
		return err
	}
	return b.verify(ctx, partPayments, url)
}

const countCapturedSQL = `select count(*) from payment where status = 'captured'`

// countPayments compares what was acknowledged with the payments in the database and with the provider's own memory.
func (b *bench) countPayments(ctx context.Context, url, witness string, accepted int) error {
	captured, err := count(ctx, url, countCapturedSQL)
	if err != nil {
		return err
	}
	_, body, err := get(ctx, witness)
	if err != nil {
		return fmt.Errorf("ask the provider: %w", err)
	}
	var truth struct {
		Charges       int `json:"charges"`
		DoubleCharges int `json:"double_charges"`
	}
	if err := json.Unmarshal(body, &truth); err != nil {
		return fmt.Errorf("read the provider's answer: %w", err)
	}
	aim := "as many as were answered 201 and captured: " + grouped(float64(accepted))
	b.report.Checks = append(b.report.Checks,
		check{Part: partPayments, Name: "payments captured", Value: grouped(float64(captured)), Aim: aim, OK: captured == accepted},
		check{Part: partPayments, Name: "charges at the provider", Value: grouped(float64(truth.Charges)), Aim: aim, OK: truth.Charges == accepted},
		check{
			Part: partPayments, Name: "charged twice", Value: grouped(float64(truth.DoubleCharges)), Aim: "none",
			OK: truth.DoubleCharges == 0,
		})
	return nil
}
