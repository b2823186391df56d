// logcheck DIR FILLERS: checks what `logtool dump` took of a verifier's log, with Go's own implementation of transparency logs (golang.org/x/mod/sumdb):
// the note's signatures, the root over all entries, every inclusion proof, every consistency proof; and that each of them fails once it is altered.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func read(dir, name string) []byte {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		log.Fatal(err)
	}
	return b
}

func verifiers(dir string) note.Verifiers {
	var list []note.Verifier
	for _, line := range strings.Split(strings.TrimSpace(string(read(dir, "keys"))), "\n") {
		f := strings.Fields(line)
		key, err := hex.DecodeString(f[1])
		if err != nil {
			log.Fatal(err)
		}
		vkey, err := note.NewEd25519VerifierKey(f[0], ed25519.PublicKey(key))
		if err != nil {
			log.Fatal(err)
		}
		v, err := note.NewVerifier(vkey)
		if err != nil {
			log.Fatal(err)
		}
		list = append(list, v)
	}
	return note.VerifierList(list...)
}

func hashes(lines string) []tlog.Hash {
	var out []tlog.Hash
	for _, l := range strings.Fields(lines) {
		h, err := tlog.ParseHash(l)
		if err != nil {
			log.Fatal(err)
		}
		out = append(out, h)
	}
	return out
}

// A tree of our own over the entries.
type tree []tlog.Hash

func (t tree) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, n := range at {
		out[i] = t[n]
	}
	return out, nil
}

func (t *tree) add(n int64, entry []byte) tlog.Hash {
	more, err := tlog.StoredHashes(n, entry, *t)
	if err != nil {
		log.Fatal(err)
	}
	*t = append(*t, more...)
	return tlog.RecordHash(entry)
}

func main() {
	dir := os.Args[1]
	fillers, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	keys := verifiers(dir)
	raw := read(dir, "checkpoint")
	n, err := note.Open(raw, keys)
	if err != nil {
		log.Fatalf("the checkpoint: %v", err)
	}
	if len(n.UnverifiedSigs) != 0 {
		log.Fatalf("%d signatures by nobody", len(n.UnverifiedSigs))
	}
	lines := strings.Split(n.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		log.Fatal(err)
	}
	for i := range n.Text { // every byte of the text is signed
		bad := append([]byte(nil), raw...)
		bad[i] ^= 1
		if _, err := note.Open(bad, keys); err == nil {
			log.Fatalf("a note with another byte %d is taken", i)
		}
	}

	var own tree
	leaves := make([]tlog.Hash, size)
	for i := int64(0); i < size; i++ {
		entry := []byte(fmt.Sprintf("filler verdict %d", i+1))
		if i >= fillers {
			entry = read(dir, fmt.Sprintf("entry-%d", i))
		}
		leaves[i] = own.add(i, entry)
	}
	th, err := tlog.TreeHash(size, own)
	if err != nil || th != root {
		log.Fatalf("the root over the entries is %v, and the verifier signed %v (%v)", th, root, err)
	}

	inclusions, growths := 0, 0
	for i := int64(0); i < size; i++ {
		name := filepath.Join(dir, fmt.Sprintf("inclusion-%d", i))
		if _, err := os.Stat(name); err != nil {
			continue
		}
		head, rest, found := strings.Cut(string(read(dir, fmt.Sprintf("inclusion-%d", i))), "\n\n")
		if !found || rest != string(raw) {
			log.Fatalf("inclusion-%d carries another checkpoint", i)
		}
		parts := strings.SplitN(head, "\n", 3)
		if parts[0] != "c2sp.org/tlog-proof@v1" || parts[1] != fmt.Sprintf("index %d", i) {
			log.Fatalf("inclusion-%d: %q", i, parts[:2])
		}
		p := tlog.RecordProof(hashes(parts[2]))
		if err := tlog.CheckRecord(p, size, root, i, leaves[i]); err != nil {
			log.Fatalf("inclusion of %d: %v", i, err)
		}
		p[int(i)%len(p)][i%32] ^= 1
		if tlog.CheckRecord(p, size, root, i, leaves[i]) == nil {
			log.Fatalf("an altered proof of %d is taken", i)
		}
		inclusions++
		if i == 0 {
			continue
		}
		old, err := tlog.TreeHash(i, own)
		if err != nil {
			log.Fatal(err)
		}
		g := tlog.TreeProof(hashes(string(read(dir, fmt.Sprintf("growth-%d", i)))))
		if err := tlog.CheckTree(g, size, root, i, old); err != nil {
			log.Fatalf("growth from %d: %v", i, err)
		}
		old[0] ^= 1
		if tlog.CheckTree(g, size, root, i, old) == nil {
			log.Fatalf("another past of %d is taken", i)
		}
		growths++
	}
	if inclusions < 30 || growths < 30 {
		log.Fatalf("only %d inclusions and %d growths", inclusions, growths)
	}
	fmt.Printf("%d entries, %d signatures, %d inclusion proofs, %d consistency proofs: %s\n", size, len(n.Sigs), inclusions, growths, base64.StdEncoding.EncodeToString(root[:]))
}
