package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// runProfile writes a CPU profile of each way to run the receiver under load, and prints where most
// of the time goes.
func (b *bench) runProfile(ctx context.Context, folder string) {
	program := b.buildProfiled(ctx)
	check(os.MkdirAll(folder, 0o750))
	p := b.startPeers()
	defer p.stop()
	for _, one := range contestants() {
		if !strings.HasPrefix(one.configs, "ours") || !b.wants(one.name) {
			continue
		}
		one.configs += " pprof"
		if strings.Contains(one.configs, "storage") {
			one.configs += " pprof-storage"
		}
		one.profile(ctx, program, p, filepath.Join(folder, one.name+".prof"))
	}
}

func (one *contestant) profile(ctx context.Context, program string, p *peers, file string) {
	one.start(ctx, program, p, 60_000) // More signed requests than can be checked in the time.
	defer one.stop()
	profiled := make(chan string, 1)
	go func() { profiled <- get(one.profiles + "profile?seconds=10") }()
	o := one.send(64, 12*time.Second, one.next)
	check(os.WriteFile(file, []byte(<-profiled), 0o600))
	fmt.Printf("\n%s: %.0f requests/s, responses %v, profile in %s\n", one.name, o.perSecond(), o.statuses, file)
	fmt.Println(execute(ctx, ".", "go", "tool", "pprof", "-top", "-cum", "-nodecount=60", file))
}
