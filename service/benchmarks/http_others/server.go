// The two endpoints of http_apps.py in Go: server PORT
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type body struct {
	Model     string    `json:"model"`
	Messages  []message `json:"messages"`
	MaxTokens int       `json:"max_tokens"`
}

type answer struct {
	Model     string `json:"model"`
	N         int    `json:"n"`
	MaxTokens int    `json:"max_tokens"`
}

type delta struct {
	Content string `json:"content"`
}

type choice struct {
	Index        int     `json:"index"`
	Delta        delta   `json:"delta"`
	FinishReason *string `json:"finish_reason"`
}

type chunk struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int      `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
}

func echo(w http.ResponseWriter, r *http.Request) {
	var asked body
	if json.NewDecoder(r.Body).Decode(&asked) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	out, _ := json.Marshal(answer{asked.Model, len(asked.Messages), asked.MaxTokens})
	w.Header().Set("content-type", "application/json")
	w.Write(out)
}

var pace = func() time.Duration {
	ms, _ := strconv.Atoi(os.Getenv("PACE_MS"))
	return time.Duration(ms) * time.Millisecond
}()

func sse(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("content-type", "text/event-stream")
	event := chunk{"chatcmpl-0123456789abcdef", "chat.completion.chunk", 1700000000, "m",
		[]choice{{0, delta{" token"}, nil}}}
	for i := 0; i < 100; i++ {
		data, _ := json.Marshal(event)
		fmt.Fprintf(w, "data: %s\n\n", data)
		w.(http.Flusher).Flush()
		if pace > 0 {
			time.Sleep(pace)
		} else {
			runtime.Gosched()
		}
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	http.HandleFunc("/echo", echo)
	http.HandleFunc("/sse", sse)
	http.ListenAndServe("127.0.0.1:"+os.Args[1], nil)
}
