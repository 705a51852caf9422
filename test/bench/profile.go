package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	profileTime        = 10 * time.Second
	profileConnections = 64
	profileTop         = "60"
	// More than can be checked in the time.
	profileSigned = 30_000
)

// runProfile writes where the time goes, for each way to run the receiver.
func (o *options) runProfile(ctx context.Context) (err error) {
	program, err := o.profiled(ctx)
	if err != nil {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return err
	}
	resolver, stopResolver, err := serveKey(&key.PublicKey)
	if err != nil {
		return err
	}
	defer stopResolver()
	temporary, err := os.MkdirTemp(o.directory, "storage")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	if err := os.MkdirAll(o.profile, 0o750); err != nil {
		return err
	}
	for _, plan := range []struct{ name, config, environment string }{
		{ours, "", ""},
		{oursSigned, "signature", "BENCH_RESOLVER=" + resolver},
		{oursStorage, "storage", "BENCH_STORAGE=" + temporary},
	} {
		if !o.wanted(plan.name) {
			continue
		}
		configs := []string{"ours", "profiling"}
		if plan.config != "" {
			configs = append(configs, plan.config)
		}
		if plan.name == oursStorage {
			// The list of extensions is one, of which the last file has the say.
			configs = append(configs, "profiling-storage")
		}
		var sending requests = newTypical()
		if plan.name == oursSigned {
			calls, err := sign(ctx, key, typicalBodies(), profileSigned)
			if err != nil {
				return err
			}
			sending = &signed{calls}
		}
		if err := o.profileOne(ctx, program, plan.name, plan.environment, configs, sending); err != nil {
			return fmt.Errorf("%s: %w", plan.name, err)
		}
	}
	return nil
}

// profileOne profiles one way to run the receiver while it is sent as much as it takes.
func (o *options) profileOne(ctx context.Context, program, name, environment string, configs []string, sending requests) (err error) {
	s, err := start(ctx, name, program, []string{environment}, o.config(configs...)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	type fetched struct {
		profile string
		err     error
	}
	fetching := make(chan fetched, 1)
	go func() {
		profile, err := get(fmt.Sprintf("%sprofile?seconds=%d", s.profiles, int(profileTime.Seconds())-2))
		fetching <- fetched{profile, err}
	}()
	sent, err := (&load{address: s.address, connections: profileConnections, requests: sending}).run(profileTime)
	if err != nil {
		return err
	}
	got := <-fetching
	if got.err != nil {
		return got.err
	}
	file := filepath.Join(o.profile, name+".prof")
	if err := os.WriteFile(file, []byte(got.profile), 0o600); err != nil {
		return err
	}
	fmt.Printf("\n%s: %.0f requests/s, answers: %v, profile in %s\n", name, sent.perSecond(), sent.statuses, file)
	command := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-cum", "-nodecount", profileTop, file) //nolint:gosec // The file is its own.
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	return command.Run()
}

// profiled compiles the distribution with profiles in it.
func (o *options) profiled(ctx context.Context) (string, error) {
	program := filepath.Join(o.directory, "otelcol-profiled")
	return program, buildProfiled(ctx, o.root, program)
}
