//go:build e2e

package e2e

import (
	"archive/zip"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// office is the set-up that people put a lock in front of: one client at a time, a new process after
// every twenty, and a time limit that also ends the process.
const office = `[Backend]
Exec=/usr/bin/soffice --headless --norestore --accept=socket,host=127.0.0.1,port=8100;urp; -env:UserInstallation=file:///run/tiproxy/office
Address=127.0.0.1:8100
StartTimeoutSec=90
StopTimeoutSec=10
RecycleConnections=20
[Gate]
MaxConnections=1
SessionTimeoutSec=20
OnTimeout=restart
`

//go:embed testdata/topdf.py
var topdf []byte

// desk is where documents lie that the office can read; it does not see our /tmp.
type desk struct {
	t   *testing.T
	dir string
}

func newDesk(t *testing.T) desk {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "tiproxy-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := desk{t, dir}
	d.write("topdf.py", topdf)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d desk) write(name string, data []byte) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), data, 0o644); err != nil {
		d.t.Fatal(err)
	}
}

// writeDocument writes document n in one of three formats, and answers its name.
func (d desk) writeDocument(n int) string {
	d.t.Helper()
	text := fmt.Sprintf("This is the text of document %d.", n)
	switch name := fmt.Sprintf("%03d", n); n % 3 {
	case 0:
		d.write(name+".txt", []byte(text+"\n"))
		return name + ".txt"
	case 1:
		d.write(name+".html", []byte("<!doctype html><title>A page</title><p>"+text+"</p>\n"))
		return name + ".html"
	default:
		d.write(name+".odt", openDocument(d.t, text))
		return name + ".odt"
	}
}

// openDocument is the least that is an OpenDocument text with one paragraph.
func openDocument(t *testing.T, text string) []byte {
	t.Helper()
	const schema = "urn:oasis:names:tc:opendocument:xmlns:"
	var file bytes.Buffer
	archive := zip.NewWriter(&file)
	for _, part := range []struct{ name, content string }{
		{"mimetype", "application/vnd.oasis.opendocument.text"},
		{"content.xml", `<office:document-content xmlns:office="` + schema + `office:1.0" xmlns:text="` + schema + `text:1.0" office:version="1.2">` +
			`<office:body><office:text><text:p>` + text + `</text:p></office:text></office:body></office:document-content>`},
		{"META-INF/manifest.xml", `<manifest:manifest xmlns:manifest="` + schema + `manifest:1.0" manifest:version="1.2">` +
			`<manifest:file-entry manifest:full-path="/" manifest:media-type="application/vnd.oasis.opendocument.text"/>` +
			`<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/></manifest:manifest>`},
	} {
		w, err := archive.CreateHeader(&zip.FileHeader{Name: part.name, Method: zip.Store}) // mimetype must be stored
		if err == nil {
			_, err = w.Write([]byte(part.content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// convert has document n made a PDF by way of tiproxy, and looks at what came out.
func (d desk) convert(n int) error {
	name := d.writeDocument(n)
	source := filepath.Join(d.dir, name)
	target := source + ".pdf"
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	client := exec.CommandContext(ctx, "python3", filepath.Join(d.dir, "topdf.py"), "host=127.0.0.1,port=4000", source, target)
	if out, err := client.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	file, err := os.ReadFile(target)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(file, []byte("%PDF-")) || !bytes.HasSuffix(bytes.TrimSpace(file), []byte("%%EOF")) {
		return fmt.Errorf("%s: %d bytes that are no PDF", name, len(file))
	}
	text, err := exec.Command("pdftotext", target, "-").CombinedOutput()
	if want := fmt.Sprintf("This is the text of document %d.", n); err != nil || !strings.Contains(string(text), want) {
		return fmt.Errorf("%s: pdftotext reads %q and answers %v, wanted %q", name, text, err, want)
	}
	return nil
}

// gateCounts are those of `tiproxy status --json`.
type gateCounts struct {
	Served    int `json:"served"`
	Refused   int `json:"refused"`
	Abandoned int `json:"abandoned"`
	TimedOut  int `json:"timed_out"`
}

func (u *unit) gateCounts() gateCounts {
	u.t.Helper()
	var s struct {
		Gate gateCounts `json:"gate"`
	}
	text := output(u.t, "tiproxy", "status", "--json", "--control", "/run/"+u.name+"/control.sock")
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		u.t.Fatalf("%v in %s", err, text)
	}
	return s.Gate
}

// officePIDs are the processes of the office: its splash screen starts it and waits for it.
func officePIDs() []int { return append(pidsOf("oosplash"), pidsOf("soffice.bin")...) }

func TestLibreOfficeConvertsAHundredDocuments(t *testing.T) {
	const documents, clients, recycled = 100, 8, 5
	d, u := newDesk(t), configure(t, office)
	began := time.Now()
	numbers := make(chan int)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for n := range numbers {
				if err := d.convert(n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range documents {
		numbers <- n
	}
	close(numbers)
	all.Wait()
	t.Logf("%d documents in %v", documents, time.Since(began).Round(time.Second))
	eventually(t, "a fresh office stands there", func() bool {
		s := u.status().Backend
		return s.State == "ready" && s.Starts == recycled+1
	})
	if got, want := u.gateCounts(), (gateCounts{Served: documents}); got != want {
		t.Errorf("the gate counts %+v, wanted %+v", got, want)
	}
	if lines := linesWith(u.journal(), "the backend is ready"); len(lines) == recycled+1 {
		t.Logf("the starts:\n%s", strings.Join(lines, ""))
	}
}

func TestLibreOfficeIsReplacedUnderAClientThatHangs(t *testing.T) {
	d, u := newDesk(t), configure(t, office)
	if err := d.convert(1); err != nil {
		t.Fatal(err)
	}
	before := officePIDs()
	if len(before) != 2 {
		t.Fatalf("the office's processes are %v, wanted oosplash and soffice.bin", before)
	}
	began := time.Now()
	hanging := dial(t, "tcp", "127.0.0.1:4000")
	eventually(t, "it is let in", func() bool { return u.status().Gate.Active == 1 })
	next := make(chan error)
	go func() { next <- d.convert(2) }()
	if greeting, err := io.ReadAll(hanging); len(greeting) == 0 || err != nil { // the office speaks first
		t.Errorf("the client that hangs got %q and %v, wanted a greeting and an end", greeting, err)
	}
	if held := time.Since(began); held < 20*time.Second || held > 22*time.Second {
		t.Errorf("the client that hangs was cut after %v, wanted 20 s", held)
	}
	if err := <-next; err != nil {
		t.Errorf("the client that waited behind it: %v", err)
	}
	for _, pid := range officePIDs() {
		if slices.Contains(before, pid) {
			t.Errorf("process %d (%s) of the office is left from before", pid, commandOf(pid))
		}
	}
	if starts := u.status().Backend.Starts; starts != 2 {
		t.Errorf("the office was started %d times, wanted 2", starts)
	}
	if journal := u.journal(); !mentions(journal, "stopping the backend", "OnTimeout=restart") || !mentions(journal, "SessionTimeoutSec=") {
		t.Error("the journal does not say why the office was replaced")
	}
}
