// tokenize MODEL.gguf: reads texts from the standard input, each preceded by its length in bytes and a line break, and
// prints for each the ids that llama.cpp cuts it into, with special tokens around it and within it, on one line.
#include <llama.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: %s MODEL.gguf < TEXTS\n", arguments[0]);
    return 2;
  }
  llama_log_set(
      [](ggml_log_level level, const char* text, void*) {
        if (level >= GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
      },
      nullptr);
  llama_model_params parameters = llama_model_default_params();
  parameters.vocab_only = true;
  llama_model* model = llama_model_load_from_file(arguments[1], parameters);
  if (model == nullptr) return 1;
  const llama_vocab* vocabulary = llama_model_get_vocab(model);
  for (std::string line; std::getline(std::cin, line);) {
    std::string text(std::stoul(line), '\0');
    std::cin.read(text.data(), static_cast<std::streamsize>(text.size()));
    std::vector<llama_token> ids(text.size() + 8);
    const int found = llama_tokenize(vocabulary, text.data(), static_cast<int>(text.size()), ids.data(),
                                     static_cast<int>(ids.size()), true, true);
    if (found < 0) return 1;
    for (int place = 0; place < found; ++place) std::printf("%s%d", place == 0 ? "" : " ", ids[place]);
    std::printf("\n");
  }
  llama_model_free(model);
}
