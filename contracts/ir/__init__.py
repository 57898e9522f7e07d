"""What the contracts over compiled pipelines share: the parts of the IR, its messages, references and step code. Declares no contract."""
